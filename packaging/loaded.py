"""Whether the libraries of a wheel can be loaded here, without torch and without the package.

python packaging/loaded.py WHEEL
"""

import ctypes
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        kernels = wheel.read("unrolled/kernels/prebuilt/kernels.zip")
    with zipfile.ZipFile(io.BytesIO(kernels)) as archive, tempfile.TemporaryDirectory() as folder:
        manifest = json.loads(archive.read("manifest.json"))
        names = [name for name in archive.namelist() if name != "manifest.json"]
        for name in names:
            file = Path(folder, f"{name}.so")
            file.write_bytes(archive.read(name))
            library = ctypes.CDLL(str(file))
            if name == manifest["processor"]:
                library.unrolled_processor.restype = ctypes.c_uint64
                print(f"processor: {library.unrolled_processor():b}")
    print(f"{len(names)} libraries loaded")


if __name__ == "__main__":
    main()
