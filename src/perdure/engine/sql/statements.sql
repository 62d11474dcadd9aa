-- Every statement that the engine runs, by name. What stands between /*row*/ and /*end*/ is repeated
-- for each row of a multi-row statement.

-- name: insert_instances
INSERT INTO instances (number, id, name, status, parked, created, updated, epoch, parent, parent_key,
    definition, input_digest, custom_status, failure, output, call)
VALUES /*row*/(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)/*end*/

-- name: update_instances
UPDATE instances SET status = v.column2, parked = v.column3, updated = v.column4,
    custom_status = v.column5, failure = v.column6, output = v.column7
FROM (VALUES /*row*/(?, ?, ?, ?, ?, ?, ?)/*end*/) AS v WHERE instances.number = v.column1

-- name: insert_history
INSERT INTO landings (place, events, record) VALUES /*row*/(? << 32 | ?, ?, ?)/*end*/

-- name: insert_payloads
INSERT INTO payloads (owner, digest, body) VALUES /*row*/(?, ?, ?)/*end*/
ON CONFLICT (owner, digest) DO NOTHING

-- name: replace_kept
INSERT INTO kept (instance, seq, epoch, older, custom_status, state) VALUES /*row*/(?, ?, ?, ?, ?, ?)/*end*/
ON CONFLICT (instance) DO UPDATE SET seq = excluded.seq, epoch = excluded.epoch, older = excluded.older,
    custom_status = excluded.custom_status, state = excluded.state

-- name: delete_timers
DELETE FROM timers WHERE instance IN (VALUES /*row*/(?)/*end*/)

-- name: insert_timers
INSERT INTO timers (instance, key, fire_at) VALUES /*row*/(?, ?, ?)/*end*/

-- name: delete_kept
DELETE FROM kept WHERE instance IN (VALUES /*row*/(?)/*end*/)

-- name: delete_history
DELETE FROM landings WHERE place IN (
    SELECT landings.place FROM (VALUES /*row*/(?)/*end*/) AS v
    CROSS JOIN landings ON landings.place BETWEEN v.column1 << 32 AND v.column1 << 32 | 4294967295
)

-- name: delete_instances
DELETE FROM instances WHERE number IN (VALUES /*row*/(?)/*end*/)

-- name: delete_payloads
DELETE FROM payloads WHERE owner IN (VALUES /*row*/(?)/*end*/)

-- name: replace_entities
INSERT INTO entities (name, key, updated, state) VALUES /*row*/(?, ?, ?, ?)/*end*/
ON CONFLICT (name, key) DO UPDATE SET updated = excluded.updated, state = excluded.state

-- name: delete_entities
DELETE FROM entities WHERE (name, key) IN (VALUES /*row*/(?, ?)/*end*/)

-- name: select_entity
SELECT state FROM entities WHERE name = ? AND key = ?

-- name: select_entities
SELECT key, updated FROM entities WHERE name = ? AND key > ? ORDER BY key LIMIT ?

-- name: replace_meta
INSERT INTO meta (key, value) VALUES /*row*/(?, ?)/*end*/ ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: select_meta
SELECT value FROM meta WHERE key = ?

-- name: select_last_number
SELECT ifnull(max(number), 0) FROM instances

-- name: select_instance
SELECT number, id, name, status, parked, created, updated, epoch, parent, parent_key,
    definition, input_digest, custom_status, failure, output, call
FROM instances WHERE id = ?

-- name: select_number
SELECT number FROM instances WHERE id = ?

-- name: select_page
SELECT number, id, name, status, parked, created, updated, epoch, parent, parent_key,
    definition, input_digest, custom_status, failure, output, x''
FROM instances
WHERE created >= :created_from AND created < :created_to
    AND (created, number) < (:cursor_created, :cursor_number)
    AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))
    AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
    AND (:prefix = '' OR substr(id, 1, length(:prefix)) = :prefix)
    AND (:children OR parent = '')
ORDER BY created DESC, number DESC LIMIT :limit

-- name: select_children
SELECT number, id, status FROM instances WHERE parent = ? AND parent <> ''

-- name: select_active
SELECT number, id, name, status, parked, created, updated, epoch, parent, parent_key,
    definition, input_digest, custom_status, failure, output, call
FROM instances WHERE status = 'Running' AND parked = 0 AND number > ? ORDER BY number LIMIT ?

-- name: select_active_kept
SELECT kept.instance, kept.seq, kept.epoch, kept.older, kept.custom_status, kept.state
FROM instances CROSS JOIN kept ON kept.instance = instances.number
WHERE instances.status = 'Running' AND instances.parked = 0
    AND instances.number BETWEEN ? AND ? ORDER BY instances.number

-- name: select_active_history
SELECT place >> 32, place & 4294967295, landings.events, landings.record
FROM instances CROSS JOIN landings ON landings.place
    BETWEEN instances.number << 32 | ifnull((SELECT seq FROM kept WHERE kept.instance = instances.number), 0)
    AND instances.number << 32 | 4294967295
WHERE instances.status = 'Running' AND instances.parked = 0
    AND instances.number BETWEEN ? AND ? ORDER BY instances.number, landings.place

-- name: select_kept
SELECT instance, seq, epoch, older, custom_status, state FROM kept WHERE instance = ?

-- name: select_history
WITH asked (number, seq) AS (VALUES (?, ?))
SELECT place >> 32, place & 4294967295, events, record
FROM asked CROSS JOIN landings ON place BETWEEN number << 32 | seq AND number << 32 | 4294967295
ORDER BY place

-- name: select_events
WITH asked (number, seq) AS (VALUES (?, ?))
SELECT place >> 32, place & 4294967295, events, record
FROM asked CROSS JOIN landings ON place BETWEEN number << 32 | seq AND number << 32 | 4294967295
WHERE events > ? ORDER BY place LIMIT ?

-- name: select_next_timer
SELECT fire_at FROM timers WHERE fire_at > ? ORDER BY fire_at LIMIT 1

-- name: select_due
SELECT DISTINCT instances.number, instances.id
FROM timers CROSS JOIN instances ON instances.number = timers.instance
WHERE timers.fire_at <= ? ORDER BY timers.fire_at LIMIT ?

-- name: select_payload
SELECT body FROM payloads WHERE owner = ? AND digest = ?

-- name: checkpoint_passive
PRAGMA wal_checkpoint(passive)

-- name: checkpoint_truncate
PRAGMA wal_checkpoint(truncate)

-- name: begin
BEGIN IMMEDIATE

-- name: commit
COMMIT

-- name: rollback
ROLLBACK
