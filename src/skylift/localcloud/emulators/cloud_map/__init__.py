"""Cloud Map: what ministack's answers lack, and how ECS registers its ECS tasks there."""
