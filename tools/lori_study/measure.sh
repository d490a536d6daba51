#!/usr/bin/env bash
# Serve the adapters of the small LoRI study and measure them, alone and merged: make lori does this.
#
#   tools/lori_study/measure.sh DATA ADAPTERS [RESULTS]     with ITEMS=50 of each held-out file
set -euo pipefail

data="$1"
adapters="$2"
out="${3:-benchmarks/results/lori}"
bin="${BIN:-.venv/bin}"
items="${ITEMS:-50}"
port="${PORT:-8017}"
machine="${MACHINE:-$(nproc) cores of a $(uname -m) machine}"
here="$(dirname "$0")"

tasks=(maths science code reading)
methods=(lora lori-d lori-s)
held_out=(maths="$data/gsm8k_dev.jsonl" science="$data/arc_challenge_dev.jsonl"
  code="$data/code_alpaca_dev.jsonl" reading="$data/squad_dev.jsonl")
export LORALLOY_URL="http://127.0.0.1:$port"

training_file() { # task
  case "$1" in
    maths) echo "$data/gsm8k_train.jsonl" ;;
    science) echo "$data/arc_challenge_train.jsonl" ;;
    code) echo "$data/code_alpaca_train.jsonl" ;;
    reading) echo "$data/squad_train.jsonl" ;;
  esac
}

start_server() {
  "$bin/loralloy" serve --port "$port" --policies "$here/policies.yaml" --no-demo-adapters \
    --data-dir "$work/data" > "$work/server.log" 2>&1 &
  server=$!
  until curl -sf "$LORALLOY_URL/ready" > "$work/ready"; do
    kill -0 "$server" || { tail "$work/server.log" >&2; exit 1; }
    sleep 1
  done
}

push() { # adapter's folder
  local name
  name="$(basename "$1")"
  "$bin/loralloy" adapters push "${name//./-}" "$adapters/$1"
}

push_all() {
  for task in "${tasks[@]}"; do
    "$bin/python" -m adapters.training.data.texts --task "$task" --data "$(training_file "$task")" \
      --out "$work/$task.jsonl" --limit 600
    "$bin/python" -m router.fit --examples "$work/$task.jsonl" --out "$work/$task.json" --keep 0
    for method in "${methods[@]}"; do
      cp "$work/$task.json" "$adapters/$method-$task/router.json"
      push "$method-$task"
    done
  done
  for further in lori-s0.{5,99}-maths "${methods[@]/%/-science-maths}"; do
    push "$further"
  done
}

measure() { # result, models; the tasks come from the array asked
  local result="$1"
  shift
  "$bin/loralloy" eval --server "$LORALLOY_URL" --models "$@" --tasks "${asked[@]}" --metrics loss \
    --items "$items" --out "$out/$result" --note "Made by \`make lori DATA=folder\` on $machine." > /dev/null
}

work="$(mktemp -d)"
mkdir -p "$out"
trap '[[ -z "${server:-}" ]] || kill -INT "$server" 2> "$work/kill" || true; wait; rm -rf "$work"' EXIT

for method in "${methods[@]}"; do
  "$bin/loralloy" interference "${tasks[@]/#/$adapters/$method-}" \
    --csv "$out/interference-$method.csv" --plot "$out/interference-$method.svg" \
    > "$out/interference-$method.txt"
  sed -i 's/[[:blank:]]*$//' "$out/interference-$method".{svg,txt}
done

start_server
push_all
alone=(base)
merged=()
for method in "${methods[@]}"; do
  alone+=("${tasks[@]/#/$method-}")
  for rule in cat linear; do
    merged+=("$method"-{3,4}-{source,equal}-"$rule")
  done
  merged+=("auto-$method")
done
asked=("${held_out[@]}")
measure single "${alone[@]}"
measure merging "${merged[@]}"
asked=("${held_out[0]}")
measure sparsity base lori-d-maths lori-s0-5-maths lori-s-maths lori-s0-99-maths
asked=("${held_out[@]:0:2}")
measure continual base "${methods[@]/%/-science}" "${methods[@]/%/-science-maths}"
