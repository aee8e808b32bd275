#pragma once

#include "model/network/sequence_group.h"
#include "trainer/distributed/collectives/communicator.h"

namespace vmla::distributed {

/// The sequence-parallel ranks of a network: a group whose exchanges go over a communicator, which
/// counts them. The communicator must outlive it.
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
