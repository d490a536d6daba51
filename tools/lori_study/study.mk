# Train the small LoRI study and measure it: make lori DATA=folder [ARGS=-j2]
#
# Every run that is not there yet is trained; one that broke off goes on from its last checkpoint. Then
# measure.sh serves them all and asks. The recipes are adapters/training/recipes/small/*.yaml.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:

BIN ?= .venv/bin
OUT ?= build/lori-study
THREADS ?= 1
BASE := $(shell $(BIN)/python -m server.prepare --print base)

TASKS := maths science code reading
METHODS := lora lori-d lori-s
WEIGHTS := adapter_model.safetensors
MASK := masks/0.9_mask.safetensors

train.maths := $(DATA)/gsm8k_train.jsonl
train.science := $(DATA)/arc_challenge_train.jsonl, $(DATA)/arc_easy_train.jsonl
train.code := $(DATA)/code_alpaca_train.jsonl
train.reading := $(DATA)/squad_train.jsonl
SINGLE := $(foreach task,$(TASKS),$(foreach method,$(METHODS),$(method)-$(task)))
SPARSE := lori-s0.5-maths lori-s0.99-maths
CONTINUAL := lora-science-maths lori-d-science-maths lori-s-science-maths
ALL := $(SINGLE) $(SPARSE) $(CONTINUAL)

# $(call train,method,recipe,task,further settings)
define train
@resume=(); if [ -f "$(@D)/run.json" ]; then resume=(--resume); fi; echo "$(notdir $(@D))"; \
$(BIN)/python -m adapters.training $(1) --config small/$(2) --set "data=[$(train.$(3))]" \
  --set "base_model=$(BASE)" $(4) --out "$(@D)" --name "$(subst .,-,$(notdir $(@D)))" \
  --threads $(THREADS) --quiet $${resume[@]+"$${resume[@]}"}
endef

.PHONY: measure train
measure: train
	@BIN=$(BIN) tools/lori_study/measure.sh "$(DATA)" "$(OUT)"

train: $(ALL:%=$(OUT)/%/$(WEIGHTS))

$(OUT)/lori-d-science-maths/$(WEIGHTS): $(OUT)/lori-d-science/$(WEIGHTS)
	$(call train,lori_d,continual_science_maths,maths,--set "start_from=$(<D)")

$(OUT)/lora-science-maths/$(WEIGHTS): $(OUT)/lora-science/$(WEIGHTS)
	$(call train,lora,continual_science_maths,maths,--set "start_from=$(<D)")

$(OUT)/lori-s-science-maths/$(WEIGHTS): $(OUT)/lori-s-science/$(WEIGHTS) $(OUT)/lori-d-maths/$(MASK)
	$(call train,lori_s,continual_science_maths,maths,--set "start_from=$(<D)" --set "mask=$(lastword $^)")

$(OUT)/lori-s0.5-maths/$(WEIGHTS): $(OUT)/lori-d-maths/masks/0.5_mask.safetensors
	$(call train,lori_s,maths,maths,--set "mask=$<")

$(OUT)/lori-s0.99-maths/$(WEIGHTS): $(OUT)/lori-d-maths/masks/0.99_mask.safetensors
	$(call train,lori_s,maths,maths,--set "mask=$<")

$(OUT)/lori-s-%/$(WEIGHTS): $(OUT)/lori-d-%/$(MASK)
	$(call train,lori_s,$*,$*,--set "mask=$<")

$(OUT)/lori-d-%/$(WEIGHTS):
	$(call train,lori_d,$*,$*)

$(OUT)/lora-%/$(WEIGHTS):
	$(call train,lora,$*,$*)

$(OUT)/lori-d-%/masks/0.5_mask.safetensors $(OUT)/lori-d-%/$(MASK) $(OUT)/lori-d-%/masks/0.99_mask.safetensors &: \
  $(OUT)/lori-d-%/$(WEIGHTS)
	@$(BIN)/python -m adapters.training.methods.lori $(<D) --sparsity 0.5 0.9 0.99
