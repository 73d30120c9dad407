#!/usr/bin/env bash
# The whole path on real recordings, each step one command.
#
#   examples/real_data.sh FOLDER [OUT]
#
# FOLDER holds the corpora as they were downloaded: ptb-xl/ (with ptbxl_database.csv), cinc2021/ (sub-sets of the PhysioNet/CinC
# Challenge 2021) and code15-wfdb/ (any WFDB files); one that is not there is passed over. OUT (default: real) is written, and the
# script can be run again: a store that is whole is left, a run that was stopped goes on.
#
# The sizes here are for a laptop (an encoder of a few hundred thousand weights, minutes); STEPS and EPOCHS in the environment change
# them. For results, drop encoder=tiny and the steps, and read docs/coming-from.md for the published settings.
set -euo pipefail
folder=${1:?"usage: examples/real_data.sh FOLDER [OUT]"}
out=${2:-real}
einthoven=${EINTHOVEN:-einthoven}
steps=${STEPS:-300} epochs=${EPOCHS:-20}
mkdir -p "$out"

ingest() { # source, sub-folder
    if [ -d "$folder/$2" ]; then
        echo "== ingest $2"
        "$einthoven" ingest "$1" "$folder/$2" "$out/store-$2"
    fi
}
run() { # folder of the run, command…: a finished run is left, a stopped one resumed
    if [ -f "$1/model/config.json" ]; then
        echo "== $1 is there"
    elif [ -f "$1/recipe.json" ]; then
        echo "== resume $1"
        "$einthoven" resume "$1"
    else
        echo "== $1"
        "$einthoven" "${@:2}" run="$1"
    fi
}

ingest ptbxl ptb-xl
ingest physionet2021 cinc2021
ingest folder code15-wfdb

# PTB-XL: the published folds (1–8 train, 9 valid, 10 test), the five diagnostic superclasses, statements as SCP-ECG codes.
if [ -d "$out/store-ptb-xl" ]; then
    run "$out/pretrain-ptb-xl" pretrain w2v_cmsc_rlm data="$out/store-ptb-xl" encoder=tiny steps="$steps" batch=16 optim.lr=5e-4
    run "$out/diagnosis-ptb-xl" finetune diagnosis data="$out/store-ptb-xl" init="$out/pretrain-ptb-xl" classes=ptbxl_super \
        epochs="$epochs" batch=16 optim.lr=1e-3 encoder.extractor_gradient=1
    "$einthoven" evaluate "$out/diagnosis-ptb-xl" data="$out/store-ptb-xl" split=test
    find "$folder/ptb-xl" -name '*.hea' | sort | head -3 | tr '\n' '\0' |
        xargs -0 "$einthoven" predict "$out/diagnosis-ptb-xl" --out "$out/ptb-xl.json" --html "$out/ptb-xl.html"
fi

# PhysioNet/CinC 2021: the 26 scored classes, diagnoses as SNOMED CT codes, a split by patient (here: by recording; the corpus names no patients).
if [ -d "$out/store-cinc2021" ]; then
    run "$out/pretrain-cinc2021" pretrain w2v_cmsc_rlm data="$out/store-cinc2021" encoder=tiny steps="$steps" batch=16 optim.lr=5e-4
    run "$out/diagnosis-cinc2021" finetune diagnosis data="$out/store-cinc2021" init="$out/pretrain-cinc2021" classes=cinc2021 \
        epochs="$epochs" batch=16 optim.lr=1e-3 encoder.extractor_gradient=1
    "$einthoven" evaluate "$out/diagnosis-cinc2021" data="$out/store-cinc2021" split=test
    find "$folder/cinc2021" -name '*.hea' | sort | head -3 | tr '\n' '\0' |
        xargs -0 "$einthoven" predict "$out/diagnosis-cinc2021" --out "$out/cinc2021.json" --html "$out/cinc2021.html"
fi

for store in "$out"/store-*; do
    rejected=$(($(wc -l <"$store/rejected.csv") - 1))
    echo "$store: $rejected files could not be used; see $store/rejected.csv"
done
