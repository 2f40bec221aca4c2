-- About tables that were never analysed the planner knows nothing, and takes the index with the fewest
-- conditions: whether a request id holds was looked for among all open holds. Who looks for overdue ones
-- names a time, which shows that there is one; nobody else can use these indexes now.
DROP INDEX credit_holds_overdue;
CREATE INDEX credit_holds_overdue ON credit_holds (expires_at, org_id, user_id)
WHERE status = 'held' AND expires_at IS NOT NULL;

DROP INDEX user_credit_holds_overdue;
CREATE INDEX user_credit_holds_overdue ON user_credit_holds (expires_at, user_id)
WHERE status = 'held' AND expires_at IS NOT NULL;
