"""A mutation run over the frontier's rules: a change that no test notices is a rule that no test holds."""
