-- What somebody needs to check, without us, that a charge or refund is in the chain: the row, its link, and
-- the digests of the rows after it, as far as the head or a thousand of them. They tell nothing about those
-- rows, and lead to every head that was noted down in between.
CREATE OR REPLACE FUNCTION ledger.get_proof(org_id TEXT, request_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _most_links CONSTANT INTEGER := 1000;
  _entry_id UUID;
  _link public.ledger_chain;
BEGIN
  PERFORM ledger.require_organization(get_proof.org_id);
  SELECT charge.id INTO _entry_id
  FROM public.credit_usage_attribution AS charge
  WHERE charge.org_id = get_proof.org_id AND charge.request_id = get_proof.request_id;
  IF NOT FOUND THEN
    PERFORM ledger.refuse(ledger.problem(
      'not_found', format('There is no charge %s here.', get_proof.request_id)
    ));
  END IF;
  SELECT link.* INTO _link
  FROM public.ledger_chain AS link
  WHERE link.org_id = get_proof.org_id AND link.entry_id = _entry_id AND link.kind = 'charge';
  IF NOT FOUND THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      'The charge %s is not sealed yet. The server does that every few seconds, and `credits run-due` now.',
      get_proof.request_id
    )));
  END IF;

  IF ledger.is_detached(_link.org_id, _link.kind, _entry_id) THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      'The details of the charge %s are in an archive that is detached: attach it again to prove the charge.',
      get_proof.request_id
    )));
  END IF;

  SELECT jsonb_build_object(
    'org_id', _link.org_id,
    'sequence', _link.sequence,
    'kind', _link.kind,
    'entry', coalesce(
      jsonb_object(
        ledger.entry_names(_link.kind), ledger.entry_of(_link.org_id, _link.kind, _link.entry_id)
      ),
      '{}'
    ),
    'previous', encode(
      coalesce(
        (
          SELECT earlier.digest
          FROM public.ledger_chain AS earlier
          WHERE earlier.org_id = _link.org_id AND earlier.sequence = _link.sequence - 1
        ),
        decode(repeat('00', 32), 'hex')
      ),
      'hex'
    ),
    'digest', encode(_link.digest, 'hex'),
    'links', coalesce(
      jsonb_agg(encode(later.entry_digest, 'hex') ORDER BY later.sequence)
      FILTER (WHERE later.sequence > _link.sequence),
      '[]'
    ),
    'head', jsonb_build_object(
      'sequence', max(later.sequence),
      'digest', (array_agg(encode(later.digest, 'hex') ORDER BY later.sequence DESC))[1]
    )
  ) INTO document
  FROM public.ledger_chain AS later
  WHERE later.org_id = _link.org_id
    AND later.sequence BETWEEN _link.sequence AND _link.sequence + _most_links;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_proof FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_proof TO credits_app;
