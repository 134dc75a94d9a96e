"""A DAG that says hello."""

from airflow.sdk import dag, task


@dag(schedule=None)
def hello():
    @task
    def say():
        print("hello from Terraform")

    say()


hello()
