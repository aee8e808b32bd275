#pragma once

#include "data/store/latent_index.h"
#include "data/store/regular_file.h"

namespace vmla::data {

/// Reads the index of a latent dataset file through HDF5 in this process, which HDF5 may crash or
/// occupy for ever if the file is damaged: for the process vmla-hdf5. A file that is not `sealed`
/// must end where its data ends. UserError, naming the file and the dataset, for anything that is
/// missing, truncated or of another shape.
LatentIndex read_hdf5_index(RegularFile file, bool sealed);

}  // namespace vmla::data
