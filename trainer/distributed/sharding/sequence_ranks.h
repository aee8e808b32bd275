#pragma once

#include "model/network/sequence_group.h"
#include "trainer/distributed/collectives/communicator.h"

namespace vmla::distributed {

/// The ranks that share a clip's tokens, as the network knows them
/// (model/network/sequence_group.h): its exchanges go over a communicator, which counts them and
/// must outlive this object. Each returns once the result is there.
class SequenceRanks final : public model::SequenceGroup {
 public:
  explicit SequenceRanks(Communicator& ranks) : ranks_(ranks) {}

  int64_t size() const override { return ranks_.size(); }
  int64_t index() const override { return ranks_.rank(); }
  at::Tensor all_gather(const at::Tensor& part) override;
  at::Tensor reduce_scatter(const at::Tensor& whole) override;
  at::Tensor all_to_all(const at::Tensor& sent) override;

 private:
  Communicator& ranks_;
};

}  // namespace vmla::distributed
