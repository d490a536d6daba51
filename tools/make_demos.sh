#!/usr/bin/env bash
# Train the four demo adapters again, with their centroids, and measure them: make demos DATA=folder
#
#   tools/make_demos.sh DATA [OUT]     OUT defaults to examples/adapters
#
# Runs that broke off go on from their last checkpoint when the script is started again. Adapters
# that are finished are left as they are: remove a folder to train it anew.
set -euo pipefail

data="$1"
out="${2:-examples/adapters}"
bin="${BIN:-.venv/bin}"
work="${WORK:-build/demos}"
threads="${THREADS:-1}"
items="${ITEMS:-200}"
machine="${MACHINE:-$(nproc) cores of a $(uname -m) machine}"

base="$("$bin/python" -m server.prepare --print base)"

# name | files | what the adapter is for. The recipes are adapters/training/recipes/demo/*.yaml.
demos() {
  cat <<'END'
maths|gsm8k_train.jsonl|Grade-school word problems, solved step by step
science|arc_challenge_train.jsonl arc_easy_train.jsonl|Multiple-choice questions of school science
code|code_alpaca_train.jsonl|Short programming tasks, answered in code
reading|squad_train.jsonl|Questions answered by a span of a given text
END
}

train() { # name files
  local run="$work/$1" files="" resume=()
  for file in $2; do files+="$data/$file, "; done
  [ -f "$run/run.json" ] && resume=(--resume)
  [ -f "$run/adapter_model.safetensors" ] || "$bin/python" -m adapters.training lora \
    --config "demo/$1" --set "data=[$files]" --set "base_model=$base" --out "$run" \
    --threads "$threads" ${resume[@]+"${resume[@]}"}
  mkdir -p "$out/$1"
  cp "$run"/{adapter_config.json,adapter_model.safetensors,card.json,README.md} "$out/$1/"
}

fit() { # name files description
  local texts="$work/$1.jsonl" files=()
  for file in $2; do files+=("$data/$file"); done
  "$bin/python" -m adapters.training.data.texts --task "$1" --data "${files[@]}" --out "$texts" \
    --limit 600
  "$bin/python" -m router.fit --examples "$texts" --out "$out/$1/router.json" \
    --description "$3" --keep 0
}

mkdir -p "$work" "$out"
while IFS='|' read -r -u 3 name files description; do
  [ -f "$out/$name/adapter_model.safetensors" ] || train "$name" "$files"
  [ -f "$out/$name/router.json" ] || fit "$name" "$files" "$description"
done 3< <(demos)

"$bin/python" -m adapters.training.evaluation --base-model "$base" --metrics held_out \
  --items "$items" --item-tokens 512 --threads "$threads" --update-cards --resume \
  --out benchmarks/results/demo_adapters --note "Made by \`make demos DATA=folder\` on $machine." \
  --adapters "$out"/{maths,science,code,reading} \
  --tasks "maths=$data/gsm8k_dev.jsonl" "science=$data/arc_challenge_dev.jsonl" \
  "code=$data/code_alpaca_dev.jsonl" "reading=$data/squad_dev.jsonl"
