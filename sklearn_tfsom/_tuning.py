"""Constants of speed, memory and rounding, each with its reason.

Ratios were measured on two cores. None of these constants changes a best-matching unit; sums may
differ in their last digits, and so may distances of float32 samples.
"""

import numpy as np

# --- Tiles: rows whose scores are computed and searched at a time ---

# Scores of a tile, and values of its rows: 8 MiB of float32. Half or twice as many cost 5 and 15 %
# of an epoch.
TILE_SCORES = 2**21

# Rows of a tile, whatever the number of units.
MIN_TILE_ROWS, MAX_TILE_ROWS = 64, 8192

# --- Chunks: tiles that are searched in one call and summed up together ---

# Scores from which on rows are searched in two chunks at a time: in one, a search in blocks takes
# 1.25 times as long.
MIN_CHUNKED_SCORES = 2**23

# Rows of a chunk: enough for sums of size (n_units, n_features) to cost little beside them. In
# chunks of a quarter an epoch takes 1.4 times as long.
CHUNK_ROWS = 2**16

# --- Pieces: rows that are loaded at a time because there are too many to copy ---

# Values of a piece, and of a chunk that is loaded for prediction: 32 MiB of float32. With half,
# predictions of wide data take 1.2 times as long.
PIECE_VALUES = 2**23

# From this many values on, data in memory are processed in pieces instead of copied: a fit of
# 1,000,000 x 64 takes half of the memory or less, in the same time. Wide data would take 1.4 of
# the time.
MIN_OUT_OF_CORE_VALUES, MAX_OUT_OF_CORE_FEATURES = 2**25, 128

# --- Search ---

# Numbers of a vector: the scores of a row lie in lanes, whose number is a multiple of this.
VECTOR_LENGTH = 16

# XLA takes the minimum of at most this many numbers safely, see `argmin.compiled_lowest`.
MAX_REDUCED = 32

# Layers of `argmin.fused_lowest`, which are written out one by one.
FUSED_LAYERS = 8

# Largest numbers of units for which a compiled and a fused search take no minimum of more than
# MAX_REDUCED numbers. An epoch of 100,000 x 64 and 400 units takes 0.85 of the time if it is
# compiled.
MAX_COMPILED_UNITS = MAX_REDUCED * MAX_REDUCED * VECTOR_LENGTH
MAX_FUSED_UNITS = FUSED_LAYERS * MAX_REDUCED * VECTOR_LENGTH

# Features up to which the compiled search computes scores where it compares them: a fifth of the
# time at 3 features and 1,024 units; more from 16 features on.
MAX_FUSED_FEATURES = 8

# Scores, and differences where distances are no products, up to which NumPy searches, over all
# epochs of a call. Importing TensorFlow and tracing a graph take 2 to 10 s; later an epoch of
# 50,000 x 64 and 400 units takes 0.9 of the time in NumPy with AVX2, of 200,000 x 3 1.4, and of
# 50,000 x 32 1.15 with AVX-512.
MAX_NUMPY_SCORES, MAX_NUMPY_DIFFERENCES = 2**31, 2**33

# The limit for differences from incomplete samples, which take four times as long.
MAX_NUMPY_INCOMPLETE = 2**31

# The limit for scores of maps of which a graph leaves most blocks of units out.
MAX_NUMPY_PRUNED = 2**28

# Values that are kept in the form that the search in NumPy takes, once for all epochs, even if
# that is a copy: 4 MiB in float32. An epoch of 10,000 x 32 takes 0.9 of the time.
PREPARED_VALUES = 2**20

# Scores that a thread computes and searches in one task, and values of its rows. With half, an
# epoch of 20,000 x 16 and 1,600 units takes 1.07 times as long, with twice as many one of
# 50,000 x 32 and 400 units 1.18 times.
NUMPY_TILE_VALUES = 2**21

# Scores that a thread computes and searches at a time, in the cache: 1.5 MiB of float32. An epoch
# of 2,000 x 32 and 400 units takes 1.1 times as long without it, and of 20,000 x 32 with a third
# 1.2 times.
CACHED_SCORES = 3 * 2**17

# Products of two numbers from which on two threads search: it takes 0.1 ms until a thread begins,
# and as long until its end is noticed. Finding the lowest scores takes as long as SEARCH_TERMS
# products for each. In two threads epochs of 1,000 x 32 and 400 units, or 1,800 x 64 and 100, take
# 1.3 times as long as in one; in one thread those of 2,000 x 128 and 400 units 1.2 times.
MIN_TWO_SEARCHED, SEARCH_TERMS = 2**26, 32

# Values from which on two threads sum or measure rows: with half, the sums of 20,000 x 32 take 1.2
# to 1.5 times as long.
MIN_TWO_SUMMED = 2**20

# Values of rows that are measured at a time, in the cache: with four times as many the distances
# of 5,000 to 20,000 x 32 take 1.1 to 1.2 times as long.
MEASURED_VALUES = 2**16

# Differences between rows and all units up to which computing them all is faster than choosing
# candidates by scores, or than looking for equal rows: the search of one row takes half of the
# time, a default fit of the digits 0.93.
MAX_ALL_DIFFERENCES = 2**17

# Features in one step of the loop over the features of an elementwise metric. Compiled by XLA,
# four features a step take half of the time of one.
FEATURES_PER_STEP = 4

# --- Pruning of large maps ---

# Units and rows from which on blocks of units are left out, and the shortest side of such a map.
MIN_PRUNED, MIN_PRUNED_SIDE = 4096, 16

# Features up to which bounds on blocks leave out enough to pay.
MAX_PRUNED_FEATURES = 512

# Side of a block of units. Of squares of 4, 5 and 8 a trained map of 200x200 units leaves 19, 23
# and 31 % to be searched.
BLOCK_SIDE = 4

# Rows of a tile, and blocks that are searched together: 2 MiB of scores.
PRUNED_TILE_ROWS, GROUP_BLOCKS = 512, 64

# Blocks are left out if single rows reach at most this share of them; a whole tile then reaches
# up to twice as many.
MAX_REACHED = 0.35

# --- Products ---

# With AVX-512, OpenBLAS multiplies small matrices without copying them: the largest number of
# products of two numbers, and the rows of such a matrix. In blocks of these rows a large product
# takes 0.5 to 0.9 of the time, and an epoch of 100,000 x 16 and 1,024 units 0.76. With other
# processors it would take up to 1.2. In blocks of 8 rows an epoch of 5,000 x 250 and 400 units
# takes 1.16 times as long as without blocks.
MAX_SMALL_PRODUCT, MIN_SMALL_ROWS, MAX_SMALL_ROWS = 10**6, 16, 64

# Terms of a product that are added up together where NumPy searches, and sums of these at most:
# with twice as many, or half, 2,000 x 20,000 take 1.08 times as long. Of 1,000 to 20,000 features
# 0.2 to 0.8 % of the rows are left to a search in float64, of five clusters 25 %; without it 3 to
# 11 and 86 %.
MAX_PRODUCT_TERMS, MAX_PANELS = 256, 16

# --- Sums ---

# Values that NumPy converts to float64 and sums at a time: 4 MiB.
SUMMED_VALUES = 2**19

# Features from which on rows are summed in the order of their units: sums of 60,000 x 784 take
# 0.75 to 0.9 of the time, those of 50,000 x 256 as long.
MIN_SORTED_FEATURES = 384

# --- Codebooks ---

# Features of code vectors that are smoothed at a time, at least: with half 100x100 units of 64
# features take 1.5 times as long.
MIN_SMOOTHED_FEATURES = 32

# Code vectors whose median is computed, at most; an odd number. With twice as many the search of
# one row of 20,000 features takes 1.35 times as long.
MAX_MEDIAN = 31

# --- Distances ---

# Distances to all units that are computed at a time: 2 MiB of float32.
TILE_DISTANCES = 2**19

# Rows of such a tile, at least: with a quarter, distances to 12,000 units take 1.5 times as long.
MIN_DISTANCE_ROWS = 128

# --- Work in NumPy ---

# Values of an array that is small enough for the cache, in float64: 2 MiB.
CACHED_VALUES = 2**18

# Values of rows that are checked, converted or filled at a time, in float64: 8 MiB.
TILE_VALUES = 2**20

# Distances that are computed and reduced at a time, in float64, or values of samples that are
# searched and summed at a time: 32 MiB.
LARGE_TILE_VALUES = 2**22

# Squared distances below this share of the squared norms have lost digits to cancellation and are
# computed again from differences.
CANCELLATION = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-6}

# If more than this share of a tile has lost digits in float32, its product in float64 takes less
# time than differences.
MAX_LOST = 0.02

# --- Exported models ---

# Terms of the product that an exported model computes distances by, as long as they leave room for
# this many reference vectors. Of 32, 64 and 128 vectors the distances of the worst of 8 sets are
# good to 4e-5, 3e-5 and 2e-5, those of the median set to 2e-6.
EXPORTED_TERMS, MIN_REFERENCES = 192, 64

# Differences of a sample that an exported model computes at a time, and blocks of these at most,
# each of which is written out in the model. With 512, 1,024 and 2,048 differences, 10,000 samples
# of 64 features take 107, 156 and 283 MiB in eager Keras; 1,000 take 34, 22 and 16 ms in ONNX.
EXPORTED_BLOCK, MAX_EXPORTED_BLOCKS = 1024, 64

# Features up to which an exported model computes Euclidean distances from differences. There it
# takes as long as by products, and is exact also where only one or two features are known.
MAX_DIFFERENCE_FEATURES = 4

# --- Address space ---

# Bytes that must be left where a limit is set, for threads, BLAS and TensorFlow: with less they
# end the process, or wait without end. TensorFlow's start takes 2.0 GiB on two cores, and more
# with more threads.
LEAST_ADDRESS_SPACE, START_ADDRESS_SPACE = 2**29, 2**32
