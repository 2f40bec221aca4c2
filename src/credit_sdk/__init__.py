"""Make any function billable in prepaid credits."""
