"""A fake of Anyscale's control plane whose jobs really run, as ECS tasks of the local cloud. It is not Anyscale."""
