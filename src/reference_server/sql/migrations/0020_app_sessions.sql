-- A session that came of exchanging tokens belongs to the log-in that it began with: logging out ends it all.

-- The session that was opened with the password; NULL for that one itself.
ALTER TABLE cross_app_sessions ADD COLUMN log_in UUID;
CREATE INDEX cross_app_sessions_of_log_in ON cross_app_sessions (log_in);
CREATE INDEX cross_app_sessions_of_user ON cross_app_sessions (user_id, expires_at);
