#pragma once

#include <hdf5.h>

#include <string>
#include <vector>

#include "data/store/latent_dataset.h"
#include "model/io/error.h"
#include "tests/data/store/small_dataset.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {

/// Changes a dataset of four clips through HDF5 itself, as another program might, and returns what
/// is said when it is opened.
template <class Edit>
std::string complaint_after(const TemporaryFolder& folder, const Edit& edit) {
  write_dataset(folder / "a.h5", 4);
  const hid_t file = H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  edit(file);
  H5Fclose(file);
  return error_of<UserError>([&] { LatentDataset(folder / "a.h5"); });
}

/// Puts a dataset of zeros in the place of another.
inline void replace_dataset(hid_t file,
                            const char* name,
                            hid_t type,
                            std::vector<hsize_t> dims,
                            std::vector<hsize_t> chunk) {
  H5Ldelete(file, name, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
  if (!chunk.empty()) H5Pset_chunk(plist, static_cast<int>(chunk.size()), chunk.data());
  const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
  H5Dclose(set);
  H5Pclose(plist);
  H5Sclose(space);
}

}  // namespace vmla::data
