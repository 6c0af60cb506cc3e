# Short names for what scripts/ and `minispark` do; `make help` lists them.
SHELL := bash
RUN := . scripts/_env run && "$$PY"
MINISPARK := $(RUN) minispark.py
GET := $(RUN) -c 'import sys, urllib.request as u; \
	sys.excepthook = lambda kind, why, where: print(sys.argv[1], why, sep=": ", file=sys.stderr); \
	print(u.urlopen(sys.argv[1]).read().decode())'
OUT ?= data/large
MASTER_URL ?= http://127.0.0.1:8080
ID ?= last
P ?= 4

.PHONY: help build clean delete check demo run run-master run-worker run-client-submit run-client-join \
	run-client-status run-client-results data create-test-data create-medium-data create-large-data create-1m-data \
	create-join-data test benchmark metrics metrics-system metrics-jobs metrics-failures metrics-scheduler metrics-job \
	metrics-stages metrics-worker state state-file docker docker-build docker-up docker-up-full docker-up-test \
	docker-client docker-demo docker-test docker-down docker-logs docker-ps docker-clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9% -]+:.*## / { n = split($$1, names, " "); \
		for (i = 1; i <= n; i++) printf "%-22s%s\n", names[i], $$2 }' Makefile

build: ## the virtual environment, with all that is needed
	. scripts/_env run
clean: ## removes it, and what tools left
	rm -rf .venv .venv-spark build *.egg-info .mypy_cache .ruff_cache
delete: ## stops the cluster, and removes its state
	$(MINISPARK) down --purge
check: ## lint, format, types, layers
	scripts/check
demo: ## a word count on three workers
	scripts/demo

run: ## a cluster in the foreground
	$(MINISPARK) up
run-master: ## a master alone (MASTER_HTTP_PORT, LOG_LEVEL, ...)
	$(MINISPARK) master
run-worker: ## a worker alone (WORKER_PORT, WORKER_THREADS, CACHE_MAX_MB, FAIL_PROBABILITY, ...)
	$(MINISPARK) worker
run-client-submit: ## a word count (P=4)
	$(MINISPARK) submit --parallelism $(P)
run-client-join: ## a join (P=4)
	$(MINISPARK) submit-join --parallelism $(P)
run-client-status: ## of a job (ID=last)
	$(MINISPARK) status $(ID)
run-client-results: ## of a job (ID=last)
	$(MINISPARK) results $(ID)

data: create-test-data create-medium-data create-large-data create-1m-data create-join-data ## all below, into OUT=data/large
create-test-data: ## 100 lines
	$(RUN) scripts/make_data 100 --out $(OUT)
create-medium-data: ## 1,000 lines
	$(RUN) scripts/make_data 1000 --out $(OUT)
create-large-data: ## 10,000 lines
	$(RUN) scripts/make_data 10000 --out $(OUT)
create-1m-data: ## 1,000,000 lines
	$(RUN) scripts/make_data 1m --out $(OUT)
create-join-data: ## 1,000 sales of 100 products
	$(RUN) scripts/make_data join --out $(OUT)

test: ## the whole suite
	scripts/test
test-unit: ## the unit tests, counted
	scripts/run_tests.sh
test-%: ## test-cache, test-metrics, ...: scripts/test_cache.sh, scripts/test_metrics.sh, ...
	scripts/test_$(subst -,_,$*).sh
benchmark: ## 1,000,000 lines on two workers, into results/
	scripts/benchmark_1m.sh

metrics: metrics-system metrics-jobs metrics-failures metrics-scheduler ## all of the master's
metrics-system metrics-jobs metrics-failures metrics-scheduler: ## its table of that name
	$(MINISPARK) metrics $(@:metrics-%=%)
metrics-job metrics-stages: ## of a job (ID=last)
	$(MINISPARK) metrics $(@:metrics-%=%) $(ID)
metrics-worker: ## of the worker whose metrics are at PORT=10000
	@$(GET) http://127.0.0.1:$(or $(PORT),10000)/metrics
state: ## what /api/v1/state of MASTER_URL says
	@$(GET) $(MASTER_URL)/api/v1/state
state-file: ## the same, as it lies on disk
	@cat $(or $(MINISPARK_STATE_DIR),/tmp/minispark)/state/jobs.json

docker: docker-build docker-up ## the image, a master and two workers
docker-build: ## the image
	docker compose build
docker-up: ## a master and two workers
	docker compose up -d master worker1 worker2
docker-up-full: ## and worker3
	docker compose --profile full up -d
docker-up-test: ## and worker-flaky
	docker compose --profile test up -d
docker-client: ## a command in a container (ARGS="metrics system")
	docker compose run --rm client $(ARGS)
docker-demo: ## scripts/docker-demo.sh
	scripts/docker-demo.sh
docker-test: ## scripts/docker-fault-test.sh
	scripts/docker-fault-test.sh
docker-logs: ## as they come
	docker compose --profile full --profile test logs -f
docker-ps: ## containers
	docker compose --profile full --profile test ps
docker-down: ## stops all
	docker compose --profile full --profile test down
docker-clean: ## stops all, and removes state and images
	docker compose --profile full --profile test down -v --rmi local
	docker image prune --force --filter label=org.opencontainers.image.title=minispark
