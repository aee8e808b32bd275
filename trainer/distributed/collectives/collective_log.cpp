#include "trainer/distributed/collectives/collective_log.h"

#include "model/io/error.h"

namespace vmla::distributed {

std::string describe(const CollectiveRecord& record) {
  return formatted(
      "{} #{} of group {}", collective_name(record.collective), record.sequence, record.group);
}

void CollectiveLog::set_members(const std::string& group, const std::vector<int64_t>& members) {
  const std::scoped_lock lock(mutex_);
  members_.insert_or_assign(group, members);
}

std::vector<int64_t> CollectiveLog::members(const std::string& group) const {
  const std::scoped_lock lock(mutex_);
  const auto found = members_.find(group);
  return found == members_.end() ? std::vector<int64_t>{} : found->second;
}

int64_t CollectiveLog::started(const std::string& group,
                               Collective collective,
                               int64_t sequence,
                               double bytes) {
  const std::scoped_lock lock(mutex_);
  const CollectiveRecord record{.group = group,
                                .collective = collective,
                                .sequence = sequence,
                                .bytes = bytes,
                                .changed = Clock::now()};
  records_.emplace(++tickets_, record);
  latest_.insert_or_assign(group, record);
  for (auto old = records_.begin();
       old != records_.end() && old->first <= tickets_ - static_cast<int64_t>(kept_);) {
    const bool under_way = old->second.state == CollectiveRecord::State::kUnderWay;
    old = under_way ? std::next(old) : records_.erase(old);
  }
  return tickets_;
}

void CollectiveLog::awaited(int64_t ticket) {
  const std::scoped_lock lock(mutex_);
  const auto found = records_.find(ticket);
  if (found == records_.end()) return;
  found->second.awaited = true;
  found->second.changed = Clock::now();
}

void CollectiveLog::finished(int64_t ticket, std::function<bool()> is_done) {
  const std::scoped_lock lock(mutex_);
  if (is_done) {
    on_devices_.emplace(ticket, std::move(is_done));
  } else {
    change(ticket, CollectiveRecord::State::kFinished);
  }
  // The log may never be read: what the devices have passed must not pile up until then.
  if (on_devices_.size() > kept_) look_at_devices();
}

void CollectiveLog::failed(int64_t ticket) {
  const std::scoped_lock lock(mutex_);
  change(ticket, CollectiveRecord::State::kFailed);
}

/// Asks every collective that runs on a device whether it is done.
void CollectiveLog::look_at_devices() const {
  std::erase_if(on_devices_, [this](const auto& entry) {
    try {
      if (!entry.second()) return false;
      change(entry.first, CollectiveRecord::State::kFinished);
    } catch (const std::exception&) {  // the device is broken: whoever computes on it says why
      change(entry.first, CollectiveRecord::State::kFailed);
      const auto record = records_.find(entry.first);
      if (record != records_.end() && !first_failed_on_device_)
        first_failed_on_device_ = record->second;
    }
    return true;
  });
}

void CollectiveLog::change(int64_t ticket, CollectiveRecord::State state) const {
  const auto found = records_.find(ticket);
  if (found == records_.end()) return;
  CollectiveRecord& record = found->second;
  record.state = state;
  record.changed = Clock::now();
  CollectiveRecord& newest = latest_.at(record.group);
  if (newest.sequence == record.sequence) newest = record;
  if (state == CollectiveRecord::State::kFailed && !first_failed_) first_failed_ = record;
}

std::vector<CollectiveRecord> CollectiveLog::last() const {
  const std::scoped_lock lock(mutex_);
  look_at_devices();
  std::vector<CollectiveRecord> all;
  for (const auto& [ticket, record] : records_) all.push_back(record);
  return all;
}

std::vector<CollectiveRecord> CollectiveLog::latest() const {
  const std::scoped_lock lock(mutex_);
  look_at_devices();
  std::vector<CollectiveRecord> all;
  for (const auto& [group, record] : latest_) all.push_back(record);
  return all;
}

std::optional<CollectiveRecord> CollectiveLog::first_failed() const {
  const std::scoped_lock lock(mutex_);
  return first_failed_;
}

std::optional<CollectiveRecord> CollectiveLog::first_failed_on_device() const {
  const std::scoped_lock lock(mutex_);
  look_at_devices();
  return first_failed_on_device_;
}

std::optional<CollectiveRecord> CollectiveLog::longest_awaited() const {
  const std::scoped_lock lock(mutex_);
  look_at_devices();
  std::optional<CollectiveRecord> longest;
  for (const auto& [ticket, record] : records_) {
    const bool waits = record.awaited && record.state == CollectiveRecord::State::kUnderWay;
    if (waits && (!longest || record.changed < longest->changed)) longest = record;
  }
  return longest;
}

}  // namespace vmla::distributed
