"""Read one ECG, look at what is in it, check it, bring it to another shape, draw it.

    python examples/read_a_recording.py [FILE]

FILE is a WFDB record (its header, its signal, or its name without either) or a PhysioNet .mat; without it, the synthetic heart
makes one. Reading needs neither torch nor a GPU. Everything is written into a temporary folder, whose name is printed.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import einthoven
from einthoven.leads import limb_law_residual, to_vcg
from einthoven.plot.paper import Mark, draw_paper, save
from einthoven.signal import quality
from einthoven.signal.resample import resample
from einthoven.simulate.corpus import write_corpus
from einthoven.sources.vocabulary import snomed_names

folder = Path(tempfile.mkdtemp(prefix="einthoven-"))

# %% A file to read: yours, or one that we make. The format is found by looking into the file, not by its name.
if len(sys.argv) > 1:
    file = Path(sys.argv[1])
else:
    write_corpus(folder / "corpus", records=1, patients=1, seed=3)
    file = next((folder / "corpus").rglob("*.hea"))
record = einthoven.read(file)
print(record)

# %% What a record holds. The signal is (lead, time) in mV; NaN where a lead was not recorded. Nothing is assumed: the sampling
# frequency and the names of the leads travel with it.
print(f"signal    {record.signal.shape} {record.signal.dtype}, from {np.nanmin(record.signal):.2f} to {np.nanmax(record.signal):.2f} mV")
print(f"leads     {' '.join(record.leads)}")
print(f"person    {record.patient}, {record.meta.get('age', '?')} years, {record.meta.get('sex', 'sex not known')}")
names = snomed_names()
print(f"labels    {', '.join(names.get(code, code) for code in record.labels or ()) or 'none'} ({record.label_system})")

# %% Part of it: some leads, some seconds. Only these are read from the disk.
part = einthoven.read(file, leads=["II", "V1"], start=2.0, stop=4.0)
print(f"part      {part.signal.shape} of {' '.join(part.leads)}")

# %% Is it a good recording? Flat or clipped leads, gaps, and whether Einthoven's law holds between the limb leads (I + III = II).
found = quality.check(record.signal, record.fs, record.leads)
print(
    f"problem   {found.problem or 'none'}; flat leads: {' '.join(found.flat_leads) or 'none'}; clipped: {' '.join(found.clipped_leads) or 'none'}"
)
worst = max(limb_law_residual(record.signal, record.leads).values(), default=float("nan"))
print(f"limb law  broken by {1000 * worst:.1f} µV at most (root mean square)")

# %% Another rate, with anti-aliasing; and the heart's dipole in space (Kors' matrix), from which twelve leads are only views.
slow = resample(record.signal, record.fs, 100.0)
vcg = to_vcg(record.signal, record.leads)
print(f"at 100 Hz {slow.shape}; as a vectorcardiogram {vcg.shape}, longest dipole {np.linalg.norm(vcg, axis=0).max():.2f} mV")

# %% On paper: 25 mm/s and 10 mm/mV, to scale when printed. PNG, PDF and SVG by the name of the file.
moment = float(np.linalg.norm(vcg, axis=0).argmax() / record.fs)
paper = save(draw_paper(record, annotations=[Mark(moment, "longest dipole", "II")]), folder / "tracing.png")
print(f"drawn     {paper}")
