SELECT count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running')
FROM task_instance
WHERE state IN ('queued', 'running')
  AND (executor IN ('CeleryExecutor', 'airflow.providers.celery.executors.celery_executor.CeleryExecutor')
       OR (executor IS NULL AND %(celery_first)s::boolean))
