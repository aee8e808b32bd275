#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

/// What every use of HDF5 in vmla shares. For .cpp files only: hdf5.h stays out of our headers.
namespace vmla::data {

/// Owns an HDF5 identifier and closes it. A negative one (HDF5's way to fail) may be held and asked
/// for with valid().
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    reset();
    id_ = std::exchange(other.id_, -1);
    close_ = other.close_;
    return *this;
  }

  bool valid() const { return id_ >= 0; }
  operator hid_t() const { return id_; }
  /// Closes now; false if HDF5 could not (a flush that failed, for one).
  bool reset() { return id_ < 0 || close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_;
  Close close_;
};

/// Lives as long as a file is open through HDF5. HDF5 does not print its error stack on stderr
/// meanwhile, because our errors are one line. And it does not clean up when the program ends:
/// after a failed write that clean-up crashes, and each handle is closed by its owner anyway.
class Hdf5Session {
 public:
  Hdf5Session() {
    // Heeded only before HDF5 does anything else, so it comes first.
    H5dont_atexit();
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Hdf5Session() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
  Hdf5Session(const Hdf5Session&) = delete;
  Hdf5Session& operator=(const Hdf5Session&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// The innermost message of HDF5's last failed call, e.g. "truncated file: eof = 96, ...".
std::string hdf5_reason();

/// A variable-length UTF-8 string type.
Hdf5Handle hdf5_string_type();

}  // namespace vmla::data
