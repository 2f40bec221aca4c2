-- What a user is called in answers: by the subject, as in the organisation ledger, else by the number.
CREATE OR REPLACE FUNCTION ledger.user_name(person public.users) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce((person).subject, (person).id::TEXT);

REVOKE ALL ON FUNCTION ledger.user_name FROM PUBLIC;
