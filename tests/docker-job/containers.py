"""testcontainers for Python, as a test of somebody's has it: a database of its own, which is asked."""

import os

import psycopg2
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

container = (
    DockerContainer("cofferdam-services:latest")
    .with_command("/job/database")
    .with_volume_mapping(os.getcwd(), "/job")
    .with_exposed_ports(5432)
)
with container as database:
    wait_for_logs(database, "database system is ready to accept connections", timeout=300)
    connection = psycopg2.connect(
        host=database.get_container_host_ip(),
        port=database.get_exposed_port(5432),
        user="postgres",
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(it) FROM generate_series(1, 1000) it")
        print("testcontainers for Python:", cursor.fetchone()[0])
    connection.close()
