"""Where operations are carried out: `memory`, `sql` and `http`. Heavy imports live only in here."""
