-- The same without a function. One row: go on, in this transaction. None: the epoch is stale, ROLLBACK.
INSERT INTO quorate_fence AS fence (name, epoch) VALUES (:name, :epoch)
ON CONFLICT (name) DO UPDATE SET epoch = EXCLUDED.epoch
WHERE fence.epoch <= EXCLUDED.epoch
RETURNING epoch;
