# One image for master, workers and client: `docker build -t minispark .`; the words after its name are minispark's.
FROM python:3.13-slim
LABEL org.opencontainers.image.title=minispark
WORKDIR /app
COPY pyproject.toml setup.py README.md LICENSE ./
COPY minispark ./minispark
RUN pip install --no-cache-dir --disable-pip-version-check .
# The volume's directory belongs to who runs here, so that a new volume does too.
RUN useradd --uid 1000 --create-home minispark && install -d -m 700 -o minispark -g minispark /tmp/minispark
COPY --chmod=755 docker/entrypoint /usr/local/bin/minispark-entrypoint
USER minispark
ENV MASTER_HOST=0.0.0.0 MINISPARK_STATE_DIR=/tmp/minispark MINISPARK_TOKEN_FILE=/tmp/minispark/token
ENV MINISPARK_INPUT_ROOTS=/app/data
VOLUME /tmp/minispark
EXPOSE 8080 7077 9000 10000
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=3)", "http://127.0.0.1:8080/health"]
ENTRYPOINT ["minispark-entrypoint"]
CMD ["master"]
