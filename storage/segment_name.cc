#include "storage/segment_name.h"
