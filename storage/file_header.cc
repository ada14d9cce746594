#include "storage/file_header.h"
