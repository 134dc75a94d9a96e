"""What the job runs."""

import ray


@ray.remote
def square(number: int) -> int:
    return number * number


ray.init()
print("squares:", ray.get([square.remote(number) for number in range(5)]))
