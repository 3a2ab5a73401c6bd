"""The use cases, each a short story: set_up, watch_deposits, decide, pay_out, settle. How money moves is read here."""
