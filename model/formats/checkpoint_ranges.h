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

/// Reads parts of a checkpoint's tensors, whoever wrote them: each rank what it needs. Only the
/// pages that hold these parts are read. Hashes are not compared (verify_share does that, once over
/// all ranks). One thread.
class CheckpointRanges {
 public:
  explicit CheckpointRanges(const CheckpointFolder& checkpoint);
  ~CheckpointRanges();

  const CheckpointFolder& folder() const { return checkpoint_; }
  /// Type, shape and pieces. UserError if the role or the tensor is not there.
  const io::ManifestTensor& tensor(const std::string& role, const std::string& name) const;

  /// into [n] <- elements [first, first + n) of the tensor, in row-major order; converted where
  /// `into` has another dtype. UserError names the file that cannot be read; TORCH_CHECK on a range
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

/// CheckpointRanges::read for a single range.
void read_range(const CheckpointFolder& checkpoint,
                const std::string& role,
                const std::string& name,
                int64_t first,
                const at::Tensor& into);

}  // namespace vmla::model
