"""What packaging/deploy.py does: the connector's function, and its deployment to Greengrass V2 and V1."""
