"""Jobs in a default datastore of type azure_blob: what a job's folder has is copied there while it runs, and can be had from anywhere."""
