#pragma once

#include <chrono>
#include <cstddef>
#include <iterator>
#include <list>
#include <optional>

namespace cairn::broker {

// Things that share one patience, in the order in which it ends: whoever is added or touched last
// is at the back, so the front is always the next one due, and nothing needs a timer of its own.
// For one thread; borrows what is on it.
template <typename T>
class DeadlineList {
 public:
  using Clock = std::chrono::steady_clock;

  class Entry {
   public:
    bool listed() const { return position_.has_value(); }

   private:
    friend class DeadlineList;
    struct Item {
      T* what = nullptr;
      Clock::time_point due;
    };
    std::optional<typename std::list<Item>::iterator> position_;
  };

  explicit DeadlineList(Clock::duration patience) : patience_(patience) {}

  // Puts it on the list, or gives it its whole patience again.
  void Touch(T& what, Entry& entry, Clock::time_point now) {
    if (entry.listed()) {
      (*entry.position_)->due = now + patience_;
      items_.splice(items_.end(), items_, *entry.position_);
    } else {
      if (spare_.empty()) spare_.emplace_back();
      items_.splice(items_.end(), spare_, spare_.begin());
      items_.back() = {&what, now + patience_};
      entry.position_ = std::prev(items_.end());
    }
  }
  void Remove(Entry& entry) {
    if (!entry.listed()) return;
    if (spare_.size() < kSpareMax) {
      spare_.splice(spare_.begin(), items_, *entry.position_);
    } else {
      items_.erase(*entry.position_);
    }
    entry.position_.reset();
  }

  std::optional<Clock::time_point> next_due() const {
    return items_.empty() ? std::nullopt : std::optional(items_.front().due);
  }
  // The first one whose patience has ended by `now`; still listed. nullptr: none.
  T* Due(Clock::time_point now) const {
    return items_.empty() || items_.front().due > now ? nullptr : items_.front().what;
  }

 private:
  // Those who come and go with each request do so a few at a time.
  static constexpr std::size_t kSpareMax = 64;

  Clock::duration patience_;
  std::list<typename Entry::Item> items_;
  std::list<typename Entry::Item> spare_;  // nodes for items_, with nothing in them
};

}  // namespace cairn::broker
