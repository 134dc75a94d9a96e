DELETE FROM celery_taskmeta
WHERE status IN ('SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED') AND date_done < now() - make_interval(days => %(days)s::integer)
RETURNING id
