"""How packages of conda files are called on PyPI, and which of them PyPI does not have.

Names are in PyPI's normal form (lower case, `-` for `_` and `.`). A name that stands in none of these tables, and begins
with none of the prefixes, is taken to be the same in both places.
"""

from __future__ import annotations


def words(text: str) -> list[str]:
    return text.split()


# conda's name → PyPI's
PYPI_NAMES = {
    "brotli-python": "brotli",
    "brotlipy": "brotli",
    "dask": "dask[complete]",
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "fastapi-core": "fastapi",
    "geopandas-base": "geopandas",
    "ignite": "pytorch-ignite",
    "ipython-genutils": "ipython_genutils",
    "keras-base": "keras",
    "lmdb-python": "lmdb",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "numpy-base": "numpy",
    "opencv": "opencv-python-headless",
    "plotly-base": "plotly",
    "psycopg2": "psycopg2-binary",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pyarrow-core": "pyarrow",
    "pyg": "torch-geometric",
    "pyqt": "PyQt5",
    "pysoundfile": "soundfile",
    "pytables": "tables",
    "python-annoy": "annoy",
    "python-blosc": "blosc",
    "python-confluent-kafka": "confluent-kafka",
    "python-duckdb": "duckdb",
    "python-fastjsonschema": "fastjsonschema",
    "python-flatbuffers": "flatbuffers",
    "python-graphviz": "graphviz",
    "python-hdfs": "hdfs",
    "python-igraph": "igraph",
    "python-kaleido": "kaleido",
    "python-levenshtein": "Levenshtein",
    "python-lmdb": "lmdb",
    "python-xxhash": "xxhash",
    "pytorch": "torch",
    "pytorch-cluster": "torch-cluster",
    "pytorch-cpu": "torch",
    "pytorch-geometric": "torch-geometric",
    "pytorch-gpu": "torch",
    "pytorch-scatter": "torch-scatter",
    "pytorch-sparse": "torch-sparse",
    "pytorch-spline-conv": "torch-spline-conv",
    "ray-all": "ray[all]",
    "ray-core": "ray",
    "ray-data": "ray[data]",
    "ray-default": "ray[default]",
    "ray-serve": "ray[serve]",
    "ray-train": "ray[train]",
    "ray-tune": "ray[tune]",
    "seaborn-base": "seaborn",
    "snappy-python": "python-snappy",
    "tensorflow-base": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "torchvision-cpu": "torchvision",
    "uvicorn-standard": "uvicorn[standard]",
}

# What each Python already brings or does not need, and each `conda env export` lists: left out, and said so.
LEFT_OUT = frozenset(
    words("""
    -libgcc-mutex -openmp-mutex -py-xgboost-mutex blas bzip2 ca-certificates cpuonly expat ld-impl-linux-64 libblas libcblas libexpat
    libffi libgcc libgcc-ng libgfortran libgfortran-ng libgfortran5 libgomp liblapack liblzma libnsl libopenblas libsqlite libstdcxx
    libstdcxx-ng libuuid libxcrypt libzlib ncurses nomkl openblas openssl pip python-abi pytorch-mutex readline sqlite tk xz zlib
    """)
)

_CUDA = "leave it out: PyPI's torch and tensorflow bring the CUDA libraries they need, and the driver is the machine's"
_COMPILER = "install it on this machine, or take a package under `pip:` that needs no compiler"
_SYSTEM = "install it on this machine with its package manager, and leave it out of the conda file that is used with --local"
_R = "an R script cannot run in a virtual environment: use an image"
_RAPIDS = "take NVIDIA's packages under `pip:`, such as cudf-cu12, with their --extra-index-url"

# conda's name → what to do, for what PyPI does not have
REFUSED = {
    **dict.fromkeys(words("compilers c-compiler cxx-compiler fortran-compiler gcc gxx gfortran clang clangxx llvm make nasm"), _COMPILER),
    **dict.fromkeys(words("cudatoolkit cudatoolkit-dev cudnn nccl cuda pytorch-cuda cutensor tensorrt magma"), _CUDA),
    **dict.fromkeys(words("cudf cuml cugraph cuspatial rapids dask-cudf rmm"), _RAPIDS),
    "cupy": "take the package for your CUDA version under `pip:`, such as cupy-cuda12x",
    **dict.fromkeys(words("r-base r-essentials r mro-base"), _R),
    **dict.fromkeys(
        words("""
        ffmpeg sox tesseract poppler graphviz imagemagick pandoc ghostscript texlive-core git curl wget unzip openjdk java-jdk maven nodejs
        perl ruby go rust julia mysql postgresql mongodb redis-server openmpi mpich gdal geos proj proj4 hdf5 netcdf4-c arrow-cpp grpc-cpp
        boost boost-cpp snappy lmdb zstd lz4-c gmp mpfr fftw glib cairo pango freetype fontconfig jpeg jpeg-turbo openjpeg x264 x265 qt
        qt-main swig spdlog gtest eigen openexr sdl2 portaudio bash coreutils htop tmux cudnn-dev unixodbc
        """),
        _SYSTEM,
    ),
    "conda": "leave it out: a virtual environment is used in the place of conda's",
    "mamba": "leave it out: a virtual environment is used in the place of conda's",
}

# Beginnings of names, judged after the tables above.
REFUSED_PREFIXES = {
    "lib": _SYSTEM,
    "cuda-": _CUDA,
    "r-": _R,
    "xorg-": _SYSTEM,
    "gst-": _SYSTEM,
    "gcc-": _COMPILER,
    "gxx-": _COMPILER,
    "gfortran-": _COMPILER,
    "binutils-": _COMPILER,
    "sysroot-": _COMPILER,
    "spacy-model-": "name the model's wheel under `pip:` by its address",
}
PYTHON_PACKAGES_NAMED_LIB = frozenset(words("libclang libcst librosa librt libsass libtmux libusb1 libvirt-python libretranslate"))
