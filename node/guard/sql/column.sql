-- One row that carries its own fence. No row changed: the epoch is stale, or there is no such row.
UPDATE account SET balance = :balance, fence = :epoch WHERE id = :id AND fence <= :epoch;
