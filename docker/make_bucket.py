"""Make the bucket that the settings name, unless there is one; for compose.yaml."""

import os
from pathlib import Path


def main() -> None:
    """Read the settings, ask for the bucket, make it."""
    from s3fs import S3FileSystem

    from server.settings import load_settings

    locations = load_settings({}, Path(os.environ["LORALLOY_CONFIG"])).locations
    bucket = (locations.store_url or "").removeprefix("s3://").partition("/")[0]
    files = S3FileSystem(**locations.store_options)
    if files.exists(bucket):
        print(f"there is a bucket {bucket}")
        return
    files.mkdir(bucket)
    print(f"made the bucket {bucket}")


if __name__ == "__main__":
    main()
