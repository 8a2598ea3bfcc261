// Made by: manage.py rollout types property-classification

export interface Properties {
  address: string;
  area: string | null;
  bathrooms: string | null;
  bedrooms: number | null;
  city: string;
  created_at: string;
  description: string;
  id: string;
  latitude: number | null;
  longitude: number | null;
  postal_code: string;
  price: string | null;
  status: string | null;
  title: string;
  type: string | null;
  updated_at: string;
}

export interface PropertyImages {
  created_at: string;
  id: string;
  position: number;
  property_id: string;
  url: string;
}
