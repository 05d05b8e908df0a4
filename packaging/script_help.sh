# Sourced by the scripts whose first comment is their help, before they do anything.

first_comment() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

help_if_asked() { # ARGUMENT...: where one is -h or --help, print the help and end with 0
  local argument
  for argument in "$@"; do
    case $argument in -h | --help) first_comment && exit 0 ;; esac
  done
}

refuse_unknown_options() { # ARGUMENT...: end with 2 where one is an option that the help does not name
  local argument
  for argument in "$@"; do
    [[ $argument == -* ]] || continue
    [[ $(first_comment) =~ (^|[^a-z-])"${argument%%=*}"([^a-z-]|$) ]] && continue
    echo "${0##*/}: unknown option '$argument'; ${0##*/} --help shows what there is" >&2
    exit 2
  done
}
