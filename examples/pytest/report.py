"""What runs in the container: adds up the orders in an S3 object and writes the sum beside it."""

import os
import sys

import boto3


def main() -> None:
    """Reads s3://BUCKET/KEY, one amount per line, and writes s3://BUCKET/KEY.sum."""
    s3, bucket, key = boto3.client("s3"), os.environ["BUCKET"], sys.argv[1]
    amounts = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode().split()
    s3.put_object(Bucket=bucket, Key=f"{key}.sum", Body=str(sum(map(int, amounts))).encode())
    print(f"{len(amounts)} orders")


if __name__ == "__main__":
    main()
