"""RabbitMQ: where a broker is, and a connection to it. The doors in (`seeding`) and out (`export`) share this."""
