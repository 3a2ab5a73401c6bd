"""The services that share a database: who is there, who works on what, and how they wake one another."""
