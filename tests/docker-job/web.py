"""A web service: each visit is written into a database, and answered with their number."""

import http.server

import psycopg2


def number_of_visits(connection):
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS visits (at timestamptz DEFAULT now())")
        cursor.execute("INSERT INTO visits DEFAULT VALUES")
        cursor.execute("SELECT count(*) FROM visits")
        return cursor.fetchone()[0]


class Visits(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_visit = self.path == "/visit"
        body = f"visit {number_of_visits(self.server.connection)}\n" if is_visit else "well\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


if __name__ == "__main__":
    server = http.server.HTTPServer(("", 8000), Visits)
    server.connection = psycopg2.connect(host="db", user="postgres")
    server.serve_forever()
