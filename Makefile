PYTHON ?= python3
VENV ?= .venv
INSTALLED = $(VENV)/.installed

.PHONY: train test slow reference performance lint docs docs-serve pictures clean

train: $(INSTALLED)
	$(VENV)/bin/python -m experiments mnist

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadgroup

slow: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m slow --numprocesses auto --dist loadgroup

reference: $(INSTALLED)
	$(VENV)/bin/python -m reference

performance: $(INSTALLED)
	-$(VENV)/bin/python -m reference speed --targets --compile --kernels --scaling --seconds 0.05 --markdown docs/performance_table.md

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(INSTALLED)
	$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs

docs-serve: docs
	$(VENV)/bin/python -m http.server --bind 127.0.0.1 --directory build/docs 8000

pictures: $(INSTALLED)
	$(VENV)/bin/python docs/pictures.py

clean:
	rm -rf $(VENV)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' \
		> $(VENV)/install.log 2>&1 || { tail -n 20 $(VENV)/install.log; exit 1; }
	touch $@
