WITH lost AS (
    UPDATE task_instance SET last_heartbeat_at = now() - interval '1 day'
    WHERE hostname = %(host)s::text AND state IN ('running', 'restarting')
    RETURNING dag_id, task_id, run_id, map_index, try_number
), told AS (
    INSERT INTO log (dttm, dag_id, task_id, map_index, event, run_id, owner, owner_display_name, extra, try_number)
    SELECT now(), dag_id, task_id, map_index, %(event)s::text, run_id, 'skylift', 'skylift', %(reason)s::text, try_number FROM lost
    WHERE NOT EXISTS (
        SELECT FROM log AS old
        WHERE old.event = %(event)s::text AND old.dag_id = lost.dag_id AND old.task_id = lost.task_id
          AND old.run_id = lost.run_id AND old.map_index = lost.map_index AND old.try_number = lost.try_number
    )
    RETURNING dag_id, task_id, run_id, map_index, try_number
)
SELECT dag_id, task_id, run_id, map_index, try_number FROM told
