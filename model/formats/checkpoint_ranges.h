#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

#include "model/formats/checkpoint_reader.h"

namespace vmla::io {
class MappedFile;
}

namespace vmla::model {

/// Reads parts of a checkpoint's tensors, so that each rank reads what it holds, whatever number of
/// ranks wrote them. Files are mapped; only the pages that hold the parts are read. Hashes are not
/// compared: verify_share does that, once over all ranks. Not safe for use by several threads.
class CheckpointRanges {
 public:
  explicit CheckpointRanges(const CheckpointFolder& checkpoint);
  ~CheckpointRanges();

  const CheckpointFolder& folder() const { return checkpoint_; }
  /// Type, shape and pieces. UserError if the role or the tensor is not there.
  const io::ManifestTensor& tensor(const std::string& role, const std::string& name) const;

  /// Copies elements [first, first + n) of the tensor, in row-major order, to `into` [n], and
  /// converts them to its dtype. UserError names a file that cannot be read; c10::Error for a range
  /// outside the tensor.
  void read(const std::string& role,
            const std::string& name,
            int64_t first,
            const at::Tensor& into);

 private:
  const io::MappedFile& file(const std::string& name);

  CheckpointFolder checkpoint_;
  std::map<std::string, std::unique_ptr<io::MappedFile>> files_;  // mapped when first needed
};

}  // namespace vmla::model
