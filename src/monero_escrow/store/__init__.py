"""The database: schema, migrations, sealing, and one interface that the use cases read and write through."""
